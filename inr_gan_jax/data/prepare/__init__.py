"""From images of users to a prepared set."""
