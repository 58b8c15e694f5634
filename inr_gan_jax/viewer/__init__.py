"""A page in the browser that draws continuous images on demand: endless panning and zooming, over `inference`."""
