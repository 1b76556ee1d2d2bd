"""What readers share: how text, tables, archives and media become columns of samples."""
