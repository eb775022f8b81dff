"""Fields on surfaces: networks that do not see in which frames they are written, beside those that do."""
