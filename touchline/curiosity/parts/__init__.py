"""What exploration modules share."""
