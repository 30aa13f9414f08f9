// Put the page together.

import { setUpAttachments } from "./attachments.js";
import { setUpCommand } from "./command.js";
import { setUpComparison } from "./compare.js";
import { setUpIntake } from "./intake.js";
import { setUpKey } from "./key.js";
import { setUpModels } from "./models.js";
import { setUpNeighbors } from "./neighbors.js";
import { setUpNoiseMap } from "./noise_map.js";
import { setUpPinch } from "./pinch.js";
import { setUpQueue } from "./queue.js";
import { setUpSettings } from "./settings.js";
import { setUpStage } from "./stage.js";
import { setUpTrial } from "./trial.js";
import { setUpView } from "./view.js";

setUpSettings();
setUpStage();
setUpPinch();
setUpView();
setUpComparison();
setUpQueue();
setUpAttachments();
setUpTrial();
setUpCommand();
setUpNeighbors();
setUpNoiseMap();
setUpKey();
setUpIntake();
setUpModels();
