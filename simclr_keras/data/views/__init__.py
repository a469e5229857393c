"""Views of images: crops on the host; color and blur on the device."""
