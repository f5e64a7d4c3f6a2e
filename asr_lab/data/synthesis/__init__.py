"""Speech made by eSpeak NG: demo corpora, learners of English with known mispronunciations, and their voices."""
