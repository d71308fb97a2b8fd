"""AnyConnect's XML profiles (AnyConnectProfile.xsd) turned into profiles of ours, and what is lost on the way."""
