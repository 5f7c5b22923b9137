"""What EFT Lab is deployed with: locked packages, advisories against them, their licences."""
