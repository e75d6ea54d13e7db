"""Our fields and paintings as models of nerfstudio's, and its nerfacto as a field of ours."""
