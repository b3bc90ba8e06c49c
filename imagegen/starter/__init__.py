"""The small Stable Diffusion model that ships with imagegen, and how it was made."""
