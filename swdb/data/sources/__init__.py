"""What data sets are imported from: official archives and folders, read without trusting them."""
