"""An encoder on its way out: a folder to hand on, its card, and programs that need no metamae."""
