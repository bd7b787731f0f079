"""Users' image files: reading them with all the precision there is, and writing them without losing any.

8 bits map by v / 127.5 - 1 and 16 by v / 32767.5 - 1, which rounding inverts exactly. What a reading loses or
leaves out is said in `Picture.notes`.
"""

from rethaw.images.accept import ImageLike, Result, to_picture
from rethaw.images.enlarge import enlarged, repeated
from rethaw.images.find import Found, find_images, search_images, some
from rethaw.images.listing import SUFFIXES, Listing, ending, list_folder
from rethaw.images.mask import Mask, read_mask, read_state
from rethaw.images.picture import Picture, UnreadableImage, quantise
from rethaw.images.read import from_pil, read_image
from rethaw.images.write import write_image
