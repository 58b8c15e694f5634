"""What the commands share: flags, error sentences, progress, output folders."""
