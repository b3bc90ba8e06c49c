"""The web: thin translations between HTTP and the service. Only this package imports flask."""
