"""Verify a recorded analysis: is it unchanged, is it up to date, does it give the same result again?"""
