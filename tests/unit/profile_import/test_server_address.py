import pytest

from anyike.profile_import.server_address import ServerAddress, parse_address


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("vpn.example.com", ("vpn.example.com", "", "")),
        ("  192.0.2.1\n", ("192.0.2.1", "", "")),
        ("vpn.example.com:8443", ("vpn.example.com", "8443", "")),
        ("vpn.example.com/Staff", ("vpn.example.com", "", "Staff")),
        ("https://vpn.example.com:8443/Staff/", ("vpn.example.com", "8443", "Staff")),
        ("HTTPS://vpn.example.com", ("vpn.example.com", "", "")),
        ("2001:db8::1", ("2001:db8::1", "", "")),
        ("2001:db8::1/Staff", ("2001:db8::1", "", "Staff")),
        ("[2001:db8::1]", ("2001:db8::1", "", "")),
        ("https://[2001:db8::1]:8443/Staff", ("2001:db8::1", "8443", "Staff")),
        ("https://", ("", "", "")),
        ("/Staff", ("", "", "Staff")),
        ("", ("", "", "")),
        ("vpn.example.com:123456", ("vpn.example.com:123456", "", "")),
        ("vpn.example.com:port", ("vpn.example.com:port", "", "")),
    ],
)
def test_parts(text, parts):
    assert parse_address(text) == ServerAddress(*parts)
