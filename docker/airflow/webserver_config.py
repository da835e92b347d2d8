"""FAB's settings: passwords, or the OpenID Connect provider that the site file names."""

from pacsgrid.airflow.login_security import fab_settings

globals().update(fab_settings())
