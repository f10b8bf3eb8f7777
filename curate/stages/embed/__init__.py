"""The embed stage: an int8 vector of every kept document, by a model that is an artefact of the workspace."""
