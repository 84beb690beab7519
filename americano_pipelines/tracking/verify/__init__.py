"""Is everything that was recorded of an analysis still as it was, is it still current, and does it come out again?"""
