"""The state of each hosted room on this gateway: roster, chat, cursors, and the fan-out to local members."""
