"""LSP-extended: sports pictures with 14 joints, labelled or not, without occlusion flags."""
