"""Fine-tuning methods on one base, trained and compared on the same test utterances."""
