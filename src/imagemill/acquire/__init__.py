"""From the web to files on this machine: politely, safely, and nothing lost silently."""
