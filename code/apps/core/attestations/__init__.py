"""What is attested of an image, by whom, and whether that is enough to run it. Import late: cryptography is slow."""
