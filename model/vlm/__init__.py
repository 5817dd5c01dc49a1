"""Stage one: image and text towers, captions, LoRA and the views a photo is looked at through."""
