"""An encoder that answers over HTTP."""
