"""Pictures from diffusion models; with starter/, the only importer of torch and diffusers."""
