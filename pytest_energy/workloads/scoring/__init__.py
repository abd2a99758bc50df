"""What a fine-tuned model is worth: its score on examples that it has not seen."""
