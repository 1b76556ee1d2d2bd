"""What readers of media files share: finding the files, their labels, and decoding pictures."""
