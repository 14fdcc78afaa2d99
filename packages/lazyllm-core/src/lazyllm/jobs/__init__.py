"""Jobs: what is to be run (`command`), who runs it (`launcher`, `runner`), and what is known of it (`record`)."""
