"""An encoder that goes on learning with labels."""
