"""Comments of a Django site decided by the moderation service. Copy this folder into your project; see ../../django.md.

It needs Django 5.0 or later and nothing else; ``contrib`` needs django-contrib-comments.
"""
