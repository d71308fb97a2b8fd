"""AnyConnect EAP: an XML login inside expanded EAP packets (AnyConnect-EAP notes, sections 4 to 7)."""
