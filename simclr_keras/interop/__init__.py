"""Weights from elsewhere: the published SimCLRv2 networks, made ours."""
