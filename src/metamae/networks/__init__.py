"""Networks on plain tensors; they know neither modality nor method."""
