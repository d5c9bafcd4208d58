"""Send the exam to the deployed targets, and compare their answers with this image's own."""
