"""Studies of the ideas behind the service. Each script draws the plots and fills the tables of a page in docs/studies."""
