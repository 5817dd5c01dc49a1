"""VLMIR's science: vision-language guidance, degradations and diffusion restoration.

Tensors are RGB, (B, 3, H, W), in [0, 1]. Nothing here knows the service, Redis or the environment.
"""
