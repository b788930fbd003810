"""What a browser sees on the ports of `holdfast serve`: a page about each, and pages that a service brings itself."""

from holdfast.servers.pages.app import Pages
from holdfast.servers.pages.assets import Asset, read_page

__all__ = ["Asset", "Pages", "read_page"]
