"""From where a network lies to what it says of images, and how often it is right."""
