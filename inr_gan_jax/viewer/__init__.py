"""A page in the browser that renders continuous images on demand, with endless panning and zooming."""
