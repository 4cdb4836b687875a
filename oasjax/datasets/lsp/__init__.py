"""LSP: sports pictures with 14 joints, all labelled, occlusion marked."""
