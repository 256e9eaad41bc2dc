"""How the model is made and measured: examples written for this project, one command that trains, one that measures."""
