"""What makes a picture a brand's: its logo and lettering, laid on afterwards, and a score."""
