"""What the screens work with: the session, run control, exports, preferences. Knows neither screens nor widgets."""
