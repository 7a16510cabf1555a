"""Where vaults, accounts and keys live."""
