"""Fill the model's `cache` folder: `cache.py FOLDER THREADS...`"""

import sys
from pathlib import Path

from engine import compiled

for number in sys.argv[2:]:
    folder = Path(sys.argv[1])
    compiled(folder, int(number), str(folder / "cache"))
