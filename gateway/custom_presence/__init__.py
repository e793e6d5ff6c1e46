"""Custom presence: sends presence the changes of the fields that members show to each other."""
