"""A pretrained encoder made to predict a label: its weights go on learning, with the labels."""
